# cmake -DSOURCE=web -DFOLDER=build/web -DNPM=npm -P build_page.cmake: see pages.cmake.
file(COPY ${SOURCE}/ DESTINATION ${FOLDER} PATTERN node_modules EXCLUDE PATTERN dist EXCLUDE)
file(REMOVE ${FOLDER}/page.made)

function(give_up what)
  file(WRITE ${FOLDER}/page.html "")
  message(WARNING "${what}: this build will write no HTML pages; see ${FOLDER}/npm.log")
endfunction()

# npm ci only when the lockfile is another one.
file(SHA256 ${SOURCE}/package-lock.json _lock)
set(_installed "")
if(EXISTS ${FOLDER}/node_modules/.moesaic-lock)
  file(READ ${FOLDER}/node_modules/.moesaic-lock _installed)
endif()
if(NOT _lock STREQUAL _installed)
  execute_process(COMMAND ${NPM} ci --no-audit --no-fund WORKING_DIRECTORY ${FOLDER}
    RESULT_VARIABLE _failed OUTPUT_FILE ${FOLDER}/npm.log ERROR_FILE ${FOLDER}/npm.log)
  if(_failed)
    give_up("npm ci failed")
    return()
  endif()
  file(WRITE ${FOLDER}/node_modules/.moesaic-lock ${_lock})
endif()
execute_process(COMMAND ${NPM} run build WORKING_DIRECTORY ${FOLDER}
  RESULT_VARIABLE _failed OUTPUT_FILE ${FOLDER}/npm.log ERROR_FILE ${FOLDER}/npm.log)
if(_failed)
  file(READ ${FOLDER}/npm.log _log)
  message(FATAL_ERROR "The page template does not build:\n${_log}")
endif()
file(COPY_FILE ${FOLDER}/dist/index.html ${FOLDER}/page.html)
file(TOUCH ${FOLDER}/page.made)
