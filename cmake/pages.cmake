# The page template: npm and vite make one self-contained HTML file of web/, which src/report/page_template.cpp
# holds. It is made when web/ changes, not at every build or configure. Without npm the build goes on and
# pages say what is missing.
option(MOESAIC_PAGES "Build the page template with npm, where there is one" ON)
find_program(MOESAIC_NPM npm)
if(MOESAIC_PAGES AND MOESAIC_NPM)
  set(_page_folder ${CMAKE_BINARY_DIR}/web)
  file(GLOB _page_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/web/src/*)
  list(APPEND _page_sources ${CMAKE_SOURCE_DIR}/web/index.html ${CMAKE_SOURCE_DIR}/web/package.json
    ${CMAKE_SOURCE_DIR}/web/package-lock.json ${CMAKE_SOURCE_DIR}/web/vite.config.js
    ${CMAKE_SOURCE_DIR}/web/tsconfig.json ${CMAKE_SOURCE_DIR}/cmake/build_page.cmake)
  # Where npm fails (no network, say) page.html is empty and page.made is not there: the next build tries again.
  add_custom_command(OUTPUT ${_page_folder}/page.made BYPRODUCTS ${_page_folder}/page.html
    COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR}/web -DFOLDER=${_page_folder} -DNPM=${MOESAIC_NPM}
      -P ${CMAKE_SOURCE_DIR}/cmake/build_page.cmake
    DEPENDS ${_page_sources} COMMENT "Building the page template" VERBATIM)
  add_custom_target(moesaic_page DEPENDS ${_page_folder}/page.made)
  add_dependencies(moesaic_report moesaic_page)
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/report/page_template.cpp PROPERTIES
    OBJECT_DEPENDS ${_page_folder}/page.html
    COMPILE_DEFINITIONS MOESAIC_PAGE_TEMPLATE="${_page_folder}/page.html")
elseif(MOESAIC_PAGES)
  message(STATUS "npm is missing: moesaic will write no HTML pages")
endif()

# The gateway's dashboard is one file written by hand: no npm.
set(_dashboard ${CMAKE_SOURCE_DIR}/src/gateway/dashboard.html)
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/gateway/dashboard.cpp PROPERTIES
  OBJECT_DEPENDS ${_dashboard} COMPILE_DEFINITIONS MOESAIC_DASHBOARD="${_dashboard}")
