# SPDX-License-Identifier: BSD-3-Clause
#
# The fuzzers. Each is built with the files that it is of, and those need; which decoder is in which file says `decoders`.
# NAME_seeds, where there is one, writes what NAME begins with.
set(fuzz_flags -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all)
set(transport ${CMAKE_SOURCE_DIR}/transport)
set(glue ${CMAKE_SOURCE_DIR}/qemu-glue)
set(mpi ${CMAKE_SOURCE_DIR}/mpi-coord)
set(fuzz ${CMAKE_CURRENT_SOURCE_DIR}/fuzz)
add_custom_target(fuzzers)
set(WATARI_SMOKE_SECONDS 6 CACHE STRING "How long each fuzzer runs in the tests with label fuzz-smoke")

function(watari_fuzz_program name)
  add_executable(${name} ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/${name}.c ${ARGN})
  add_dependencies(fuzzers ${name})
  target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/unit ${glue} ${transport} ${transport}/include)
  target_link_libraries(${name} PRIVATE PkgConfig::JANSSON PkgConfig::XXHASH PkgConfig::ZSTD PkgConfig::OPENSSL)
endfunction()

# watari_fuzzer(NAME FILE...): fuzz/NAME.c with these files
function(watari_fuzzer name)
  watari_fuzz_program(${name} ${ARGN})
  target_compile_options(${name} PRIVATE ${fuzz_flags} -Wno-missing-prototypes)
  target_link_options(${name} PRIVATE ${fuzz_flags})
  add_test(NAME fuzz.${name} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/run_smoke $<TARGET_FILE:${name}> ${WATARI_SMOKE_SECONDS})
  watari_test(fuzz.${name} fuzz-smoke 120)
  math(EXPR patience "${WATARI_FUZZ_SECONDS} + 120")
  add_test(NAME fuzz-long.${name} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/run_long $<TARGET_FILE:${name}>
    ${WATARI_FUZZ_SECONDS})
  watari_test(fuzz-long.${name} fuzz ${patience} full)
endfunction()

# watari_failing(NAME FUNCTION...): these fail when the input says so, see failing.h
function(watari_failing name)
  foreach(function ${ARGN})
    target_link_options(${name} PRIVATE -Wl,--wrap=${function})
  endforeach()
endfunction()

set(stream_reader ${glue}/stream.c ${glue}/stream_ram.c ${glue}/stream_part.c ${glue}/stream_multifd.c ${transport}/error.c)
watari_fuzzer(fuzz_stream ${stream_reader})
watari_fuzzer(fuzz_multifd ${stream_reader})
watari_fuzz_program(fuzz_stream_seeds)

set(wire ${transport}/wire.c ${transport}/wire_servers.c ${transport}/wire_digest.c)
watari_fuzzer(fuzz_wire ${wire} ${transport}/session.c ${transport}/error.c)
watari_fuzz_program(fuzz_wire_seeds ${wire})

watari_fuzzer(fuzz_qemu_text ${glue}/qmp_reader.c ${glue}/hmp_text.c ${glue}/proc_maps.c ${transport}/error.c)
watari_fuzzer(fuzz_replica ${glue}/replica_index.c ${glue}/replica_checkpoint.c ${glue}/page_map.c ${glue}/replica_request.c
  ${glue}/printable.c ${transport}/error.c)
watari_fuzzer(fuzz_devices ${glue}/device_map.c ${glue}/gang_plan.c ${glue}/plan_reader.c ${glue}/rejuvenate_plan.c
  ${glue}/rejuvenate_order.c ${glue}/agent_message.c ${glue}/page_map.c ${glue}/printable.c ${transport}/error.c)
watari_fuzzer(fuzz_frame ${glue}/frame.c ${glue}/page_map.c ${glue}/read_pages.c ${transport}/error.c)
watari_fuzzer(fuzz_mpi ${mpi}/order.c ${mpi}/frame.c ${mpi}/job_plan.c ${transport}/error.c)
watari_fuzz_program(fuzz_mpi_seeds ${mpi}/order.c ${mpi}/frame.c)
foreach(name fuzz_mpi fuzz_mpi_seeds)
  target_include_directories(${name} BEFORE PRIVATE ${mpi}) # qemu-glue has a frame.h, too
endforeach()

watari_fuzzer(fuzz_words ${glue}/target.c ${glue}/retarget_request.c ${glue}/source_retarget.c ${glue}/source_switch.c
  ${glue}/stream_tail.c ${glue}/upgrade_command.c ${glue}/gang_relay.c ${glue}/printable.c ${transport}/psk.c ${transport}/secret_file.c
  ${transport}/error.c ${fuzz}/failing.c)
watari_failing(fuzz_words malloc read)
watari_fuzzer(fuzz_journals ${glue}/journal_file.c ${glue}/gang_journal.c ${glue}/gang_order.c ${glue}/gang_plan.c
  ${glue}/rejuvenate_journal.c ${glue}/rejuvenate_order.c ${glue}/rejuvenate_plan.c ${glue}/plan_reader.c ${glue}/device_map.c
  ${glue}/printable.c ${transport}/error.c)
watari_fuzz_program(fuzz_frame_seeds ${glue}/frame.c ${glue}/page_map.c ${glue}/read_pages.c ${transport}/error.c)
watari_fuzzer(fuzz_answers ${glue}/preflight.c ${glue}/disk_info.c ${glue}/machine_type.c ${glue}/device_qemu.c
  ${glue}/handover_check.c ${transport}/error.c)
file(GLOB path_tcp CONFIGURE_DEPENDS ${transport}/path_tcp*.c)
foreach(name fuzz_tcp fuzz_tcp_listen)
  watari_fuzzer(${name} ${path_tcp} ${transport}/tls_base.c ${transport}/path.c ${transport}/error.c ${fuzz}/failing.c
    ${fuzz}/tcp_failing.c ${fuzz}/tcp_peer.c)
  watari_failing(${name} calloc malloc epoll_create1 epoll_ctl eventfd timerfd_create pthread_create socket setsockopt connect bind listen
    getsockname getaddrinfo getnameinfo accept4 recv recvmsg send sendmsg sendfile poll process_vm_readv SSL_new
    SSL_CTX_new)
endforeach()
watari_failing(fuzz_tcp_listen wt_tcp_now_ns)
file(GLOB puller CONFIGURE_DEPENDS ${transport}/*.c)
list(FILTER puller EXCLUDE REGEX "/(announce|channel|path_tcp|path_verbs|path\\.c|digest_pool|tls_base|server|rails?\\.c|serving|memory\\.c|psk|credentials)")
set(fakes ${fuzz}/failing.c ${fuzz}/fake_channel.c ${fuzz}/fake_fabric.c ${fuzz}/fake_pool.c)
watari_fuzzer(fuzz_puller ${puller} ${fakes})
watari_failing(fuzz_puller calloc malloc realloc reallocarray aligned_alloc getrandom epoll_ctl clock_gettime)
watari_fuzz_program(fuzz_puller_seeds ${wire})
file(GLOB server CONFIGURE_DEPENDS ${transport}/*.c)
list(FILTER server EXCLUDE REGEX "/(channel|path_tcp|path_verbs|path\\.c|digest_pool|tls_base|task|puller|mover|plan|replica_reader|psk|credentials)")
watari_fuzzer(fuzz_server ${server} ${fakes} ${fuzz}/fake_task.c)
watari_failing(fuzz_server calloc malloc realloc reallocarray getrandom epoll_ctl pread mmap clock_gettime)
watari_fuzz_program(fuzz_server_seeds ${wire})
foreach(name tcp tcp_listen answers multifd qemu_text devices replica words journals)
  watari_fuzz_program(fuzz_${name}_seeds)
endforeach()
