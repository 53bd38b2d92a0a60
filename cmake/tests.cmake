# tests/<module>/*_test.cpp makes one binary <module>_test that links that module (and what it uses).
# tests/moesaic holds the tests of the program itself. gtest and RapidCheck are precompiled once.
find_package(GTest REQUIRED)
find_package(rapidcheck REQUIRED)
include(GoogleTest)

add_library(moesaic_test_support STATIC ${CMAKE_SOURCE_DIR}/tests/support/main.cpp)
file(GLOB _support CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/support/*.cpp)
target_sources(moesaic_test_support PRIVATE ${_support})
target_include_directories(moesaic_test_support PUBLIC ${CMAKE_SOURCE_DIR}/tests)
target_link_libraries(moesaic_test_support
  PUBLIC GTest::gtest rapidcheck rapidcheck_gtest moesaic_io fmt::fmt PRIVATE moesaic_warnings OpenSSL::Crypto)
target_precompile_headers(moesaic_test_support PUBLIC
  <gtest/gtest.h> <rapidcheck.h> <rapidcheck/gtest.h> <string> <vector>)

foreach(_name IN LISTS MOESAIC_MODULES ITEMS moesaic)
  file(GLOB _tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${_name}/*_test.cpp)
  if(_tests)
    add_executable(${_name}_test ${_tests})
    target_link_libraries(${_name}_test PRIVATE moesaic_test_support moesaic_warnings)
    if(_name STREQUAL moesaic)
      foreach(_module IN LISTS MOESAIC_MODULES)
        target_link_libraries(${_name}_test PRIVATE moesaic_${_module})
      endforeach()
      add_dependencies(${_name}_test moesaic)
    else()
      target_link_libraries(${_name}_test PRIVATE moesaic_${_name})
    endif()
    if(_name STREQUAL gateway)  # it is tested before emulated engines
      target_link_libraries(${_name}_test PRIVATE moesaic_emulator moesaic_ingest)
    endif()
    target_precompile_headers(${_name}_test REUSE_FROM moesaic_test_support)
    # Tests whose suite name starts with Slow are labelled slow and left out of the default suite. Those of the
    # program take seconds each and share nothing: a test a case, so that they spread over the cores.
    if(_name STREQUAL moesaic)
      gtest_discover_tests(${_name}_test TEST_PREFIX "${_name}." TEST_FILTER "-Slow*"
        DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 120)
      gtest_discover_tests(${_name}_test TEST_PREFIX "${_name}." TEST_FILTER "Slow*" TEST_LIST ${_name}_slow
        DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 1800 LABELS slow)
    else()
      set(_include ${CMAKE_BINARY_DIR}/${_name}_suites.cmake)
      file(GENERATE OUTPUT ${_include} CONTENT "set(BINARY \"$<TARGET_FILE:${_name}_test>\")
set(PREFIX ${_name}.)
set(LIST_FILE ${CMAKE_BINARY_DIR}/${_name}_suites.txt)
include(${CMAKE_SOURCE_DIR}/cmake/discover_suites.cmake)
")
      set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${_include})
    endif()
  endif()
endforeach()

add_test(NAME build.includes_follow_the_module_table
  COMMAND ${CMAKE_COMMAND} -DROOT=${CMAKE_SOURCE_DIR} -P ${CMAKE_SOURCE_DIR}/cmake/check_includes.cmake)

add_test(NAME build.what_is_installed_runs
  COMMAND ${CMAKE_COMMAND} -DBUILD=${CMAKE_BINARY_DIR} -P ${CMAKE_SOURCE_DIR}/cmake/check_install.cmake)
set_tests_properties(build.what_is_installed_runs PROPERTIES TIMEOUT 120)

find_program(MOESAIC_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH)
if(MOESAIC_PYTHON)
  add_test(NAME moesaic.every_json_fits_its_schema
    COMMAND ${MOESAIC_PYTHON} ${CMAKE_SOURCE_DIR}/tests/moesaic/json_schema_test.py
      $<TARGET_FILE:moesaic> ${CMAKE_SOURCE_DIR})
  set_tests_properties(moesaic.every_json_fits_its_schema PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
  add_test(NAME python.the_package_before_the_program
    COMMAND ${MOESAIC_PYTHON} ${CMAKE_SOURCE_DIR}/tests/python/package_test.py $<TARGET_FILE:moesaic> ${CMAKE_SOURCE_DIR})
  set_tests_properties(python.the_package_before_the_program PROPERTIES TIMEOUT 120)
endif()

# The pages in a browser, labelled so: .ci/run runs them beside the default suite, which leaves them out. Exit 77
# where playwright-core (npm ci --prefix tests/web) or chromium is missing.
find_program(MOESAIC_NODE node)
if(MOESAIC_NODE AND MOESAIC_NPM AND MOESAIC_PAGES)
  add_test(NAME moesaic.pages_in_a_browser
    COMMAND ${MOESAIC_NODE} ${CMAKE_SOURCE_DIR}/tests/web/page_test.mjs $<TARGET_FILE:moesaic> ${CMAKE_SOURCE_DIR}
      ${CMAKE_BINARY_DIR}/bin/moesaic-mpi)
  set_tests_properties(moesaic.pages_in_a_browser PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300
    LABELS browser)
endif()

if(MOESAIC_NODE)
  add_test(NAME moesaic.the_dashboard_in_a_browser
    COMMAND ${MOESAIC_NODE} ${CMAKE_SOURCE_DIR}/tests/web/dashboard_test.mjs $<TARGET_FILE:moesaic> ${CMAKE_SOURCE_DIR})
  set_tests_properties(moesaic.the_dashboard_in_a_browser PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120
    LABELS browser)
endif()

# The official client of the API before gateway and engine; exit 77 without it (npm ci --prefix tests/openai).
if(MOESAIC_NODE)
  add_test(NAME moesaic.the_openai_client_sees_no_gateway
    COMMAND ${MOESAIC_NODE} ${CMAKE_SOURCE_DIR}/tests/openai/client.mjs $<TARGET_FILE:moesaic>)
  set_tests_properties(moesaic.the_openai_client_sees_no_gateway PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)
endif()

# Signals, dying engines and bad clients, through the program.
if(MOESAIC_PYTHON)
  add_test(NAME gateway.as_operators_run_it
    COMMAND ${MOESAIC_PYTHON} ${CMAKE_SOURCE_DIR}/tests/gateway/program_test.py $<TARGET_FILE:moesaic> ${CMAKE_SOURCE_DIR})
  set_tests_properties(gateway.as_operators_run_it PROPERTIES TIMEOUT 300)
  string(TOUPPER "${CMAKE_BUILD_TYPE}" _type)
  if("${CMAKE_CXX_FLAGS_${_type}}" MATCHES "-fsanitize=")  # shadow memory beside the program's own
    set_tests_properties(gateway.as_operators_run_it PROPERTIES ENVIRONMENT MOESAIC_MEMORY_FACTOR=5)
  endif()
  add_test(NAME gateway.soak_while_engines_die
    COMMAND ${MOESAIC_PYTHON} ${CMAKE_SOURCE_DIR}/scripts/soak-gateway.py --seconds 45 --program $<TARGET_FILE:moesaic>)
  set_tests_properties(gateway.soak_while_engines_die PROPERTIES TIMEOUT 300 LABELS slow RUN_SERIAL ON)
endif()

# moesaic-mpi under a real mpirun: run by scripts/nightly.sh; skipped where there is none.
if(MOESAIC_PYTHON)
  add_test(NAME mpi.jobs_under_mpirun
    COMMAND ${MOESAIC_PYTHON} ${CMAKE_SOURCE_DIR}/tests/mpi/mpi_test.py
      $<TARGET_FILE:moesaic> ${CMAKE_BINARY_DIR}/bin/moesaic-mpi ${CMAKE_SOURCE_DIR})
  set_tests_properties(mpi.jobs_under_mpirun PROPERTIES
    SKIP_RETURN_CODE 77 TIMEOUT 1800 LABELS "slow;mpi" RUN_SERIAL ON)
endif()

# Each fuzz/<target>.cpp, with any compiler: <target>_corpus gives it every file of fuzz/corpus/<target>/.
file(GLOB _fuzz_targets CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/fuzz/*.cpp)
foreach(_source IN LISTS _fuzz_targets)
  get_filename_component(_target ${_source} NAME_WE)
  add_executable(${_target}_corpus ${_source} ${CMAKE_SOURCE_DIR}/fuzz/replay/corpus_main.cpp)
  target_link_libraries(${_target}_corpus PRIVATE moesaic_warnings)
  foreach(_name IN LISTS MOESAIC_MODULES)
    target_link_libraries(${_target}_corpus PRIVATE moesaic_${_name})
  endforeach()
  add_test(NAME fuzz.${_target}_corpus
    COMMAND ${_target}_corpus ${CMAKE_SOURCE_DIR}/fuzz/corpus/${_target})
  set_tests_properties(fuzz.${_target}_corpus PROPERTIES TIMEOUT 120)
endforeach()
