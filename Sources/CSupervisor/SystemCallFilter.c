#define _GNU_SOURCE
#include "SystemCallFilter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifdef ARCHITECTURE

/// Calls of later kernels are refused until somebody has looked at what they do. The number is the same on all architectures.
enum { newest_known_call = 456, x32_bit = 0x40000000 };

/// What a program that computes never needs: other processes, the kernel's own programs and keys, file systems, namespaces, the machine's settings.
static const int refused[] = {
    SYS_add_key, SYS_request_key, SYS_keyctl,
    SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp,
    SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_fanotify_init,
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot,
    SYS_unshare, SYS_setns,
    SYS_open_by_handle_at, SYS_name_to_handle_at, SYS_quotactl, SYS_acct, SYS_swapon, SYS_swapoff,
    SYS_kexec_load, SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_reboot,
    SYS_personality, SYS_sethostname, SYS_setdomainname, SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex,
    SYS_syslog, SYS_vhangup, SYS_move_pages, SYS_migrate_pages, SYS_lookup_dcookie, SYS_nfsservctl,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
#ifdef SYS_pidfd_getfd
    SYS_pidfd_getfd,
#endif
#ifdef SYS_process_madvise
    SYS_process_madvise,
#endif
#ifdef SYS_process_mrelease
    SYS_process_mrelease,
#endif
#ifdef SYS_quotactl_fd
    SYS_quotactl_fd,
#endif
#ifdef SYS_open_tree
    SYS_open_tree, SYS_move_mount, SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick,
#endif
#ifdef SYS_mount_setattr
    SYS_mount_setattr,
#endif
#if defined(__x86_64__)
    SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_uselib, SYS_ustat, SYS_sysfs, SYS__sysctl, SYS_create_module, SYS_get_kernel_syms, SYS_query_module,
    SYS_security, SYS_vserver,
#endif
};

/// Answered as by a kernel that does not have them, so that libraries take another way. The filter cannot look into the arguments of `clone3`, and `io_uring`
/// makes calls that no filter sees. Memory of the others belongs to no process, so that nothing here would count it.
static const int missing[] = {
    SYS_memfd_create, SYS_shmget,
#ifdef SYS_clone3
    SYS_clone3,
#endif
#ifdef SYS_io_uring_setup
    SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register,
#endif
#ifdef SYS_memfd_secret
    SYS_memfd_secret,
#endif
};

_Static_assert((sizeof refused / sizeof *refused + sizeof missing / sizeof *missing) * 2 + 40 < KEEL_FILTER_LENGTH_MAX, "the filter has too little room");

static const uint32_t new_namespaces =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

#define DATA(field) (uint32_t)offsetof(struct seccomp_data, field)
#define REFUSE(number) (SECCOMP_RET_ERRNO | ((number) & SECCOMP_RET_DATA))
/// The arguments of the calls that are looked into are `int` and flags below bit 32: the lower half, on machines whose lower half comes first.
#define ARGUMENT(number) (uint32_t)offsetof(struct seccomp_data, args[number])

unsigned short keel_filter(struct sock_filter *out, int allows_internet) {
    struct sock_filter *at = out;
#define STATEMENT(code, value) *at++ = (struct sock_filter)BPF_STMT(code, value)
#define JUMP(code, value, yes, no) *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | (code) | BPF_K, value, yes, no)
#define LOAD(offset) STATEMENT(BPF_LD | BPF_W | BPF_ABS, offset)
#define RETURN(value) STATEMENT(BPF_RET | BPF_K, value)
    LOAD(DATA(arch));
    JUMP(BPF_JEQ, ARCHITECTURE, 1, 0);
    RETURN(SECCOMP_RET_KILL_PROCESS);
    LOAD(DATA(nr));
#if defined(__x86_64__)
    JUMP(BPF_JGE, x32_bit, 0, 1);
    RETURN(SECCOMP_RET_KILL_PROCESS);
#endif
    JUMP(BPF_JGT, newest_known_call, 0, 1);
    RETURN(REFUSE(ENOSYS));
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        JUMP(BPF_JEQ, (uint32_t)refused[i], 0, 1);
        RETURN(REFUSE(EPERM));
    }
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++) {
        JUMP(BPF_JEQ, (uint32_t)missing[i], 0, 1);
        RETURN(REFUSE(ENOSYS));
    }
    // A process or a thread, but no namespaces.
    JUMP(BPF_JEQ, SYS_clone, 0, 4);
    LOAD(ARGUMENT(0));
    JUMP(BPF_JSET, new_namespaces, 0, 1);
    RETURN(REFUSE(EPERM));
    RETURN(SECCOMP_RET_ALLOW);
    // Sockets of the machine itself, and of the internet where it is granted: none that speak to the kernel, to devices or to raw networks.
    JUMP(BPF_JEQ, SYS_socket, 0, 6);
    LOAD(ARGUMENT(0));
    JUMP(BPF_JEQ, AF_UNIX, 3, 0);
    JUMP(BPF_JEQ, allows_internet ? AF_INET : AF_UNIX, 2, 0);
    JUMP(BPF_JEQ, allows_internet ? AF_INET6 : AF_UNIX, 1, 0);
    RETURN(REFUSE(EAFNOSUPPORT));
    RETURN(SECCOMP_RET_ALLOW);
    RETURN(SECCOMP_RET_ALLOW);
    return (unsigned short)(at - out);
}

int keel_filter_is_available(void) {
    uint32_t action = SECCOMP_RET_KILL_PROCESS;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

int keel_filter_install(int allows_internet) {
    struct sock_filter instructions[KEEL_FILTER_LENGTH_MAX];
    struct sock_fprog program = {.len = keel_filter(instructions, allows_internet), .filter = instructions};
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

#else

unsigned short keel_filter(struct sock_filter *out, int allows_internet) { return 0; }

int keel_filter_is_available(void) { return 0; }

int keel_filter_install(int allows_internet) {
    errno = ENOSYS;
    return -1;
}

#endif
