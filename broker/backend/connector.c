/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backend/connector.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/eventfd.h"

#define STACK_SIZE 65536

_Static_assert((CONNECTOR_REQUESTS & (CONNECTOR_REQUESTS - 1)) == 0, "counts wrap");

static struct connector_request *request_at(struct connector *connector, unsigned int number)
{
    return &connector->ring[number % CONNECTOR_REQUESTS];
}

/* Never waits for the server: one whose backlog is full refuses (EAGAIN). */
static int connect_to(const struct connector_request *request)
{
    int fd = socket(AF_UNIX, request->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&request->address, sizeof(request->address)) == 0)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

static void *connector_thread(void *argument)
{
    struct connector *connector = argument;
    (void)eventfd_signal(connector->report); /* what the C library does for a new thread is done */
    for (;;) {
        unsigned int number = atomic_load_explicit(&connector->done, memory_order_relaxed);
        /* Acquire: pairs with connector_ask's release, before which the request was written. */
        if (number == atomic_load_explicit(&connector->asked, memory_order_acquire)) {
            uint64_t count;
            ssize_t ignored = read(connector->wake, &count, sizeof(count)); /* waits */
            (void)ignored;
            continue;
        }
        struct connector_request *request = request_at(connector, number);
        request->result = connect_to(request);
        /* Release: pairs with the acquire of connector_answered. */
        atomic_store_explicit(&connector->done, number + 1, memory_order_release);
        (void)eventfd_signal(connector->report);
    }
    return NULL;
}

int connector_start(struct connector *connector, int report)
{
    connector->report = report;
    connector->wake = eventfd(0, EFD_CLOEXEC);
    if (connector->wake < 0)
        return -errno;
    sigset_t all, before;
    pthread_attr_t attributes;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&connector->thread, &attributes, connector_thread, connector);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    connector->running = error == 0;
    return -error;
}

int connector_ask(struct connector *connector, const struct connector_request *request)
{
    unsigned int number = atomic_load_explicit(&connector->asked, memory_order_relaxed);
    if (!connector->running || number - connector->taken == CONNECTOR_REQUESTS)
        return -EBUSY;
    *request_at(connector, number) = *request;
    atomic_store_explicit(&connector->asked, number + 1, memory_order_release);
    (void)eventfd_signal(connector->wake);
    return 0;
}

bool connector_answered(const struct connector *connector)
{
    return connector->taken != atomic_load_explicit(&connector->done, memory_order_acquire);
}

bool connector_take(struct connector *connector, struct connector_request *ret)
{
    if (!connector_answered(connector))
        return false;
    *ret = *request_at(connector, connector->taken++);
    return true;
}
