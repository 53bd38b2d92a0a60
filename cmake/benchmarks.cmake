# bench/<module>/<question>.cpp makes the program bench_<question>.
find_package(benchmark REQUIRED)
# Where the shared traces are, as the tests know it.
add_library(moesaic_bench_support STATIC
  ${CMAKE_SOURCE_DIR}/tests/support/paths.cpp ${CMAKE_SOURCE_DIR}/tests/support/shared_data.cpp)
target_include_directories(moesaic_bench_support PUBLIC ${CMAKE_SOURCE_DIR}/tests)
file(GLOB _benches CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bench/*/*.cpp)
foreach(_source IN LISTS _benches)
  get_filename_component(_question ${_source} NAME_WE)
  add_executable(bench_${_question} ${_source})
  target_link_libraries(bench_${_question} PRIVATE moesaic_bench_support benchmark::benchmark fmt::fmt moesaic_warnings)
  foreach(_name IN LISTS MOESAIC_MODULES)
    target_link_libraries(bench_${_question} PRIVATE moesaic_${_name})
  endforeach()
  set_target_properties(bench_${_question} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endforeach()
# The peer that json_import is compared with.
if(TARGET bench_json_import)
  target_link_libraries(bench_json_import PRIVATE simdjson::simdjson)
endif()
