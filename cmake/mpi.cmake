# comm_mpi and the program moesaic-mpi, where there is an MPI. The program holds the subcommands of moesaic
# that ranks can share, from the same sources, and `replay`.
if(NOT MPI_CXX_FOUND)
  message(STATUS "No MPI (package libopenmpi-dev): moesaic-mpi is not built")
  return()
endif()
set(_view ${CMAKE_BINARY_DIR}/include/comm_mpi)
file(MAKE_DIRECTORY ${_view})
file(CREATE_LINK ${CMAKE_SOURCE_DIR}/src/comm_mpi ${_view}/comm_mpi SYMBOLIC)
file(GLOB _sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/comm_mpi/*.cpp)
add_library(moesaic_comm_mpi STATIC ${_sources})
add_dependencies(moesaic_comm_mpi check_includes)
target_include_directories(moesaic_comm_mpi PUBLIC ${_view})
target_link_libraries(moesaic_comm_mpi PUBLIC moesaic_comm PRIVATE moesaic_warnings fmt::fmt MPI::MPI_CXX)

file(GLOB _sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/apps/moesaic-mpi/*.cpp)
set(_shared command.cpp import.cpp import_summary.cpp plan.cpp plan_change.cpp plan_options.cpp plan_page.cpp
            plan_robust.cpp plan_sweep.cpp profile.cpp profile_compare.cpp profile_page.cpp score_table.cpp
            time_table.cpp)
if(_sources)
  list(TRANSFORM _shared PREPEND ${CMAKE_SOURCE_DIR}/apps/moesaic/)
  add_executable(moesaic-mpi ${_sources} ${_shared})
  target_include_directories(moesaic-mpi PRIVATE ${CMAKE_SOURCE_DIR}/apps ${CMAKE_SOURCE_DIR}/apps/moesaic)
  target_precompile_headers(moesaic-mpi PRIVATE <CLI/CLI.hpp> <fmt/format.h>)
  target_link_libraries(moesaic-mpi PRIVATE moesaic_warnings moesaic_comm_mpi fmt::fmt CLI11::CLI11)
  foreach(_name IN ITEMS cost ingest planning profile replay report)  # and what these use
    target_link_libraries(moesaic-mpi PRIVATE moesaic_${_name})
  endforeach()
  set_target_properties(moesaic-mpi PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endif()
