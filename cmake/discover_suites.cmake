# Read by ctest when it starts: one test a gtest suite of BINARY, named <PREFIX><suite>. A process a suite and not
# a case: starting 800 processes cost a quarter of the default suite's time. Needs BINARY, PREFIX, LIST_FILE.
if(NOT EXISTS "${BINARY}")
  add_test("${PREFIX}NOT_BUILT" "${BINARY}")
  return()
endif()
if(NOT EXISTS "${LIST_FILE}" OR "${BINARY}" IS_NEWER_THAN "${LIST_FILE}")
  execute_process(COMMAND "${BINARY}" --gtest_list_tests
    OUTPUT_FILE "${LIST_FILE}" RESULT_VARIABLE _result)
  if(NOT _result EQUAL 0)
    file(REMOVE "${LIST_FILE}")
    message(FATAL_ERROR "${BINARY} --gtest_list_tests ended with ${_result}: build it again.")
  endif()
endif()
file(STRINGS "${LIST_FILE}" _suites REGEX "^[^ ].*\\.")
foreach(_suite IN LISTS _suites)
  string(REGEX REPLACE "\\..*" "" _suite "${_suite}")  # a parameterised suite has a comment behind its name
  add_test("${PREFIX}${_suite}" "${BINARY}" "--gtest_filter=${_suite}.*")
  if(_suite MATCHES "^Slow")
    set_tests_properties("${PREFIX}${_suite}" PROPERTIES TIMEOUT 1800 LABELS slow SKIP_RETURN_CODE 77)
  else()
    set_tests_properties("${PREFIX}${_suite}" PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77)
  endif()
endforeach()
