# Reads cmake/modules.txt and makes one static library a module. Every module sees the headers of the
# modules its line names (and core) and no others: headers are reached through one link a module in the
# build tree, so that `#include "trace/store.hpp"` resolves only where trace is linked.
file(STRINGS ${CMAKE_SOURCE_DIR}/cmake/modules.txt _module_lines REGEX "^[a-z_]+:")
set(MOESAIC_MODULES "")
foreach(_line IN LISTS _module_lines)
  string(REGEX MATCH "^([a-z_]+):(.*)$" _ "${_line}")
  set(_name ${CMAKE_MATCH_1})
  string(STRIP "${CMAKE_MATCH_2}" _uses)
  separate_arguments(_uses)
  set(MOESAIC_USES_${_name} ${_uses})
  # comm_mpi is built where there is an MPI, and linked by moesaic-mpi alone (cmake/mpi.cmake).
  if(IS_DIRECTORY ${CMAKE_SOURCE_DIR}/src/${_name} AND NOT _name STREQUAL comm_mpi)
    list(APPEND MOESAIC_MODULES ${_name})
  endif()
endforeach()

add_custom_target(check_includes
  COMMAND ${CMAKE_COMMAND} -DROOT=${CMAKE_SOURCE_DIR} -P ${CMAKE_SOURCE_DIR}/cmake/check_includes.cmake
  COMMENT "Checking includes against cmake/modules.txt" VERBATIM)

foreach(_name IN LISTS MOESAIC_MODULES)
  file(GLOB _sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${_name}/*.cpp)
  if(NOT _sources)
    message(FATAL_ERROR "src/${_name} has no .cpp file: a module is a static library")
  endif()
  set(_view ${CMAKE_BINARY_DIR}/include/${_name})
  file(MAKE_DIRECTORY ${_view})
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/src/${_name} ${_view}/${_name} SYMBOLIC)
  add_library(moesaic_${_name} STATIC ${_sources})
  add_dependencies(moesaic_${_name} check_includes)
  target_include_directories(moesaic_${_name} PUBLIC ${_view})
  target_link_libraries(moesaic_${_name} PRIVATE moesaic_warnings)
  if(NOT _name STREQUAL core)
    target_link_libraries(moesaic_${_name} PUBLIC moesaic_core)
  endif()
  foreach(_use IN LISTS MOESAIC_USES_${_name})
    if(_use IN_LIST MOESAIC_MODULES)
      target_link_libraries(moesaic_${_name} PUBLIC moesaic_${_use})
    endif()
  endforeach()
endforeach()
