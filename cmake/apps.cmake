# apps/<name>/*.cpp makes the program <name>; it may use every module.
file(GLOB _sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/apps/moesaic/*.cpp)
if(_sources)
  add_executable(moesaic ${_sources})
  target_include_directories(moesaic PRIVATE ${CMAKE_SOURCE_DIR}/apps)
  target_precompile_headers(moesaic PRIVATE <CLI/CLI.hpp> <fmt/format.h>)
  target_link_libraries(moesaic PRIVATE moesaic_warnings fmt::fmt CLI11::CLI11)
  foreach(_name IN LISTS MOESAIC_MODULES)
    target_link_libraries(moesaic PRIVATE moesaic_${_name})
  endforeach()
  set_target_properties(moesaic PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endif()

# The tidy preset makes a module one translation unit. Importers and subcommands stay apart: each has a Reader or
# Options of its own.
foreach(_target moesaic_ingest moesaic)
  if(TARGET ${_target})
    set_target_properties(${_target} PROPERTIES UNITY_BUILD OFF)
  endif()
endforeach()
