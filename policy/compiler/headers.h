/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The headers that the constants of policies come from. The generated tables include them too:
 * there the target's C compiler checks each number that the policy compiler used.
 */
#ifndef POLICY_COMPILER_HEADERS_H
#define POLICY_COMPILER_HEADERS_H

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/if_tun.h>
#include <linux/input.h>
#include <linux/io_uring.h>
#include <linux/prctl.h>
#include <linux/random.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <linux/vhost.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>

#include "common/bao_abi.h"
#include "common/newer_net.h"
#include "common/vhost_values.h"
#include "common/worker_fds.h"

/* The requests that ask the kernel about an event device (linux/input.h): each has a number, and
 * the size of the answer, in these bits. */
#define EVIOCG _IOC(_IOC_READ, 'E', 0, 0)
#define EVIOCG_BITS (_IOC(0, 0, _IOC_NRMASK, _IOC_SIZEMASK))

#endif
