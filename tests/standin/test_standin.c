/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stand-in itself, tested with a trivial client: what every other test relies on, and what the
 * real driver does (common/bao_abi.h, broker/dispatcher.h).
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/standin/fixture.h"

#define BASE 0xa003e00u
#define TIMEOUT_MS 20000

/* The generation for all of these tests comes from BVDM_ABI in the environment. */
static bool is_abi(enum standin_abi abi)
{
    return standin_default_abi() == abi;
}

static struct standin *start(const char *scenario)
{
    const char *argv[] = {STANDIN_CLIENT, scenario, NULL};
    struct standin_options options = {
        .argv = argv,
        .stdin_fd = -1,
        .stdout_fd = -1,
        .stderr_fd = -1,
    };
    for (unsigned int i = 0; i < 2; i++)
        options.devices[i] = (struct standin_device){
            .present = true,
            .shmem_addr = 0x50000000 + i * 0x100000,
            .shmem_size = 0x100000,
        };
    struct standin *standin = NULL;
    CU_ASSERT_EQUAL_FATAL(standin_start(&options, &standin), 0);
    return standin;
}

/* Asserts that the client has lived until now, and dies of our SIGTERM. */
static void stop(struct standin *standin)
{
    int status = standin_stop(standin);
    CU_ASSERT(status >= 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static uint64_t read_register(struct standin *standin, unsigned int id, uint64_t addr)
{
    uint64_t value = UINT64_MAX;
    CU_ASSERT_EQUAL(standin_read(standin, id, addr, 4, &value, TIMEOUT_MS), 0);
    return value;
}

/* Give the client time to come as far as it can without us. */
static void settle(void)
{
    usleep(300000);
}

static void serve_relays_reads_and_writes(void)
{
    struct standin *standin = start("serve");
    for (uint64_t i = 0; i < 1000; i++) {
        CU_ASSERT_EQUAL(standin_write(standin, 0, BASE + i % 64 * 8, 4, ~i, TIMEOUT_MS), 0);
        CU_ASSERT_EQUAL(read_register(standin, 0, BASE + i % 64 * 8), ~i);
    }
    struct standin_counts counts;
    standin_counts(standin, &counts);
    CU_ASSERT_EQUAL(counts.complete, 2000);
    CU_ASSERT_EQUAL(counts.protocol_errors, 0);
    CU_ASSERT_EQUAL(standin_read(standin, 7, BASE, 4, &(uint64_t){0}, 0), -ENODEV);
    stop(standin);
}

static void an_access_that_nobody_completes_times_out(void)
{
    struct standin *standin = start("serve"); /* it serves device 0 only */
    uint64_t value;
    CU_ASSERT_EQUAL(standin_read(standin, 1, BASE, 4, &value, 50), -ETIMEDOUT);
    kill(standin_pid(standin), SIGSTOP);
    CU_ASSERT_EQUAL(standin_read(standin, 0, BASE, 4, &value, 50), -ETIMEDOUT);
    kill(standin_pid(standin), SIGCONT);
    CU_ASSERT_EQUAL(standin_read(standin, 0, BASE, 4, &value, TIMEOUT_MS), 0);
    stop(standin);
}

static void an_access_ends_when_the_device_model_is_gone(void)
{
    struct standin *standin = start("serve");
    standin_expect_end(standin);
    CU_ASSERT_EQUAL(read_register(standin, 0, BASE), 0);
    kill(standin_pid(standin), SIGKILL);
    CU_ASSERT(standin_wait(standin, TIMEOUT_MS) >= 0); /* alive, it could complete the access */
    uint64_t value = 1;
    int result = standin_read(standin, 0, BASE, 4, &value, TIMEOUT_MS);
    /* If the last close destroys the device, the driver itself may have answered: with 0. */
    CU_ASSERT(result == -ESHUTDOWN || (is_abi(STANDIN_D) && result == 0 && value == 0));
    int status = standin_stop(standin);
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void the_node_is_not_the_hosts(void)
{
    struct stat before, after;
    const char *node = standin_node(STANDIN_DEFAULT);
    int had = stat(node, &before);
    struct standin *standin = start("serve");
    read_register(standin, 0, BASE);
    CU_ASSERT_EQUAL(stat(node, &after), had);
    stop(standin);
}

static void a_device_is_its_node(void)
{
    struct standin *standin = start("own-node");
    CU_ASSERT_EQUAL(read_register(standin, 1, BASE), 0);
    CU_ASSERT_STRING_EQUAL(standin_window(standin, 1), "the device's memory");
    CU_ASSERT_PTR_NULL(standin_protocol_error(standin));
    stop(standin);
}

static void a_device_is_created(void)
{
    struct standin *standin = start("create");
    CU_ASSERT_EQUAL(read_register(standin, 0, BASE), 0);
    struct standin_counts counts;
    standin_counts(standin, &counts);
    CU_ASSERT_EQUAL(counts.dm_get_info, 1);
    CU_ASSERT_EQUAL(counts.protocol_errors, 0);
    stop(standin);
}

static void no_more_than_the_window_is_mapped(void)
{
    if (is_abi(STANDIN_A)) {
        case_skipped("another generation than A, which maps whatever is asked for");
        return;
    }
    struct standin *standin = start("mmap");
    CU_ASSERT_EQUAL(read_register(standin, 0, BASE), 0);
    stop(standin);
}

static void how_a_device_comes(void)
{
    if (is_abi(STANDIN_C)) {
        a_device_is_its_node();
        return;
    }
    if (is_abi(STANDIN_D)) {
        a_device_is_created();
        return;
    }
    struct standin *standin = start("info");
    CU_ASSERT_EQUAL(read_register(standin, 0, BASE), 0);
    CU_ASSERT_STRING_EQUAL(standin_window(standin, 0), "the same memory");
    struct standin_counts counts;
    standin_counts(standin, &counts);
    CU_ASSERT_EQUAL(counts.dm_get_info, 3);
    CU_ASSERT_EQUAL(counts.protocol_errors, 0);
    stop(standin);
}

static void complete_checks_what_the_hypervisor_checks(void)
{
    struct standin *standin = start("complete");
    read_register(standin, 0, BASE);
    settle(); /* an access now could get the request_id that the client completes twice */
    read_register(standin, 0, BASE);
    CU_ASSERT_PTR_NULL(standin_protocol_error(standin));
    stop(standin);
}

static void complete_of_another_device_works_but_is_an_error(void)
{
    struct standin *standin = start("foreign");
    CU_ASSERT_EQUAL(read_register(standin, 0, BASE), 77);
    const char *words = standin_protocol_error(standin);
    CU_ASSERT(words && strstr(words, "COMPLETE for device 0"));
    stop(standin);
}

static void any_signal_ends_attach(void)
{
    struct standin *standin = start("signal");
    settle();
    if (is_abi(STANDIN_D)) /* the second ATTACH has been restarted, and waits */
        CU_ASSERT_EQUAL(read_register(standin, 0, BASE), 55);
    settle();
    kill(standin_pid(standin), SIGSTOP);
    settle();
    kill(standin_pid(standin), SIGCONT);
    CU_ASSERT_EQUAL(read_register(standin, 0, BASE), 0);
    CU_ASSERT_PTR_NULL(standin_protocol_error(standin));
    stop(standin);
}

static void a_second_attacher(void)
{
    struct standin *standin = start("two-attachers");
    settle();
    const char *words = standin_protocol_error(standin);
    CU_ASSERT_EQUAL(words && strstr(words, "attached while"), is_abi(STANDIN_A));
    CU_ASSERT(!words || is_abi(STANDIN_A));
    CU_ASSERT_EQUAL(read_register(standin, 0, BASE), 0);
    stop(standin);
}

/* The last close frees the device while it is in use (A), or destroys it (D). With the others
 * nothing happens. */
static void the_last_close(void)
{
    bool minds = is_abi(STANDIN_A) || is_abi(STANDIN_D);
    struct standin *standin = start("last-close");
    usleep(80000);
    CU_ASSERT_PTR_NULL(standin_protocol_error(standin)); /* first a copy, then a mapping held it */
    CU_ASSERT_EQUAL(read_register(standin, 1, BASE), 0);
    usleep(20000);
    struct standin_counts counts;
    standin_counts(standin, &counts);
    CU_ASSERT_EQUAL(counts.dm_releases, 1);
    const char *words = standin_protocol_error(standin);
    CU_ASSERT_EQUAL(words && strstr(words, "device 0: last close"), minds);
    CU_ASSERT(!words || minds);
    stop(standin);
}

static void eventfds_fire_as_the_driver_fires_them(void)
{
    struct standin *standin = start("eventfd");
    CU_ASSERT_EQUAL(read_register(standin, 0, BASE), 0);
    const uint64_t notify = BASE + 0x50;
    CU_ASSERT_EQUAL(standin_write(standin, 0, notify, 4, 0, 0), 0); /* returns at once */
    CU_ASSERT_EQUAL(standin_write(standin, 0, notify, 2, 0, 0), 0); /* a narrower write matches */
    CU_ASSERT_EQUAL(standin_write(standin, 0, notify, 4, 1, 0), 0);
    CU_ASSERT_EQUAL(standin_write(standin, 0, notify, 4, 2, 0), 0);          /* lost */
    CU_ASSERT_EQUAL(standin_write(standin, 0, notify, 4, 1ull << 32, 0), 0); /* not cut: lost */
    CU_ASSERT_EQUAL(standin_write(standin, 0, notify + 1, 1, 0, 0), 0);      /* lost */
    uint64_t value = 5;
    CU_ASSERT_EQUAL(standin_read(standin, 0, notify, 4, &value, 0), 0);
    CU_ASSERT_EQUAL(value, 0);
    struct standin_counts counts;
    standin_counts(standin, &counts);
    CU_ASSERT_EQUAL(counts.ioeventfd_signals, 3);
    CU_ASSERT_EQUAL(read_register(standin, 0, BASE), 2);
    CU_ASSERT_EQUAL(read_register(standin, 0, BASE + 8), 0); /* the first registered wins */
    CU_ASSERT_EQUAL(read_register(standin, 0, BASE + 16), 1);

    CU_ASSERT_EQUAL(standin_wait_irq(standin, 0, 0), -ETIMEDOUT);
    CU_ASSERT_EQUAL(standin_wait_irq(standin, 1, 0), -ENOTCONN);
    CU_ASSERT_EQUAL(standin_write(standin, 0, BASE, 4, 3, TIMEOUT_MS), 0);
    CU_ASSERT_EQUAL(standin_wait_irq(standin, 0, TIMEOUT_MS), 3);
    /* wider than the range: it goes to the device model, which raises the interrupt */
    CU_ASSERT_EQUAL(standin_write(standin, 0, notify, 8, 1, TIMEOUT_MS), 0);
    CU_ASSERT_EQUAL(standin_wait_irq(standin, 0, TIMEOUT_MS), 1);
    CU_ASSERT_PTR_NULL(standin_protocol_error(standin));
    stop(standin);
}

struct vcpu {
    struct standin *standin;
    uint64_t addr;
    unsigned int wrong;
};

static void *run_vcpu(void *argument)
{
    struct vcpu *vcpu = argument;
    for (uint64_t i = 0; i < 2000; i++) {
        uint64_t value = 0;
        if (standin_write(vcpu->standin, 0, vcpu->addr, 8, i, TIMEOUT_MS) < 0 ||
            standin_read(vcpu->standin, 0, vcpu->addr, 8, &value, TIMEOUT_MS) < 0 || value != i)
            vcpu->wrong++;
    }
    return NULL;
}

static void several_vcpus_at_once(void)
{
    struct standin *standin = start("serve");
    struct vcpu vcpus[4];
    pthread_t threads[4];
    for (unsigned int i = 0; i < 4; i++) {
        vcpus[i] = (struct vcpu){.standin = standin, .addr = BASE + 8 * i};
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, run_vcpu, &vcpus[i]), 0);
    }
    for (unsigned int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        CU_ASSERT_EQUAL(vcpus[i].wrong, 0);
    }
    CU_ASSERT_PTR_NULL(standin_protocol_error(standin));
    stop(standin);
}

static void a_program_that_cannot_be_started_is_reported(void)
{
    const char *argv[] = {"/nonexistent/device-model", NULL};
    struct standin_options options = {
        .argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
    struct standin *standin = NULL;
    CU_ASSERT_EQUAL(standin_start(&options, &standin), -ENOENT);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"serve relays reads and writes", serve_relays_reads_and_writes},
        {"an access that nobody completes times out", an_access_that_nobody_completes_times_out},
        {"an access ends when the device model is gone",
         an_access_ends_when_the_device_model_is_gone},
        {"the node is not the host's", the_node_is_not_the_hosts},
        {"how a device comes", how_a_device_comes},
        {"no more than the window is mapped", no_more_than_the_window_is_mapped},
        {"COMPLETE checks what the hypervisor checks", complete_checks_what_the_hypervisor_checks},
        {"COMPLETE of another device works but is an error",
         complete_of_another_device_works_but_is_an_error},
        {"any signal ends ATTACH", any_signal_ends_attach},
        {"a second attacher", a_second_attacher},
        {"the last close", the_last_close},
        {"eventfds fire as the driver fires them", eventfds_fire_as_the_driver_fires_them},
        {"several vCPUs at once", several_vcpus_at_once},
        {"a program that cannot be started is reported",
         a_program_that_cannot_be_started_is_reported},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "stand-in", tests);
}
