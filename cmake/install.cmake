# cmake --install build/release [--prefix P]: the programs, the schemas of what they write, and the licence.
include(GNUInstallDirs)
install(TARGETS moesaic RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
if(TARGET moesaic-mpi)
  install(TARGETS moesaic-mpi RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY docs/schemas DESTINATION ${CMAKE_INSTALL_DATADIR}/moesaic)
install(FILES LICENSE NOTICE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
