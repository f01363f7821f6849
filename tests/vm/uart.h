/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550A serial port, as far as Linux's 8250 driver uses it: the frontend's console, and the
 * channel through which a test gives it commands. Output never waits. Input waits in a buffer until
 * the guest takes it. Thread-safe after uart_init.
 */
#ifndef TESTS_VM_UART_H
#define TESTS_VM_UART_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UART_PORTS 8 /* I/O ports, each a byte wide */
#define UART_BUFFER 256

struct uart {
    pthread_mutex_t lock;
    int vm;       /* the KVM virtual machine, for the interrupt line */
    uint32_t gsi; /* its interrupt line */
    int out_fd;   /* where the guest's output goes; -1: nowhere. Borrowed */
    uint8_t ier, lcr, mcr, scr, fcr, dll, dlm;
    bool transmit_interrupt; /* IIR has not yet reported "transmitter empty" */
    bool line;               /* level of the interrupt line */
    uint8_t rx[UART_BUFFER];
    size_t rx_first, rx_count;
};

void uart_init(struct uart *uart, int vm, uint32_t gsi, int out_fd);

/* Accesses of the guest; offset < UART_PORTS. */
uint8_t uart_read(struct uart *uart, unsigned int offset);
void uart_write(struct uart *uart, unsigned int offset, uint8_t value);

/* The number of bytes that uart_receive takes now; and a function that hands bytes to the guest. */
size_t uart_room(struct uart *uart);
void uart_receive(struct uart *uart, const uint8_t *data, size_t size);

#endif
