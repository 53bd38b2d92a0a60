# apps/moesaic/*.cpp makes the program moesaic; it may use every module. All but its main file are a library, of which
# moesaic-mpi takes what ranks can share.
file(GLOB _sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/apps/moesaic/*.cpp)
if(_sources)
  list(REMOVE_ITEM _sources ${CMAKE_SOURCE_DIR}/apps/moesaic/main.cpp)
  add_library(moesaic_commands STATIC ${_sources})
  target_include_directories(moesaic_commands PUBLIC ${CMAKE_SOURCE_DIR}/apps PRIVATE ${CMAKE_SOURCE_DIR}/apps/moesaic)
  target_precompile_headers(moesaic_commands PRIVATE <CLI/CLI.hpp> <fmt/format.h>)
  target_link_libraries(moesaic_commands PUBLIC fmt::fmt CLI11::CLI11 PRIVATE moesaic_warnings)
  foreach(_name IN LISTS MOESAIC_MODULES)
    target_link_libraries(moesaic_commands PUBLIC moesaic_${_name})
  endforeach()
  add_executable(moesaic ${CMAKE_SOURCE_DIR}/apps/moesaic/main.cpp)
  target_link_libraries(moesaic PRIVATE moesaic_commands moesaic_warnings)
  set_target_properties(moesaic PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endif()

# The tidy preset makes a module one translation unit. Importers and subcommands stay apart: each has a Reader or
# Options of its own.
foreach(_target moesaic_ingest moesaic_commands)
  if(TARGET ${_target})
    set_target_properties(${_target} PROPERTIES UNITY_BUILD OFF)
  endif()
endforeach()
