/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/vm/uart.h"

#include <linux/kvm.h>
#include <linux/serial_reg.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* If a reader of the output stands still for so long, output is lost: the guest never waits longer.
 */
#define OUTPUT_PATIENCE_MS 1000

void uart_init(struct uart *uart, int vm, uint32_t gsi, int out_fd)
{
    *uart = (struct uart){.vm = vm, .gsi = gsi, .out_fd = out_fd};
    pthread_mutex_init(&uart->lock, NULL);
}

static void update_line(struct uart *uart)
{
    bool level = ((uart->ier & UART_IER_RDI) && uart->rx_count > 0) ||
                 ((uart->ier & UART_IER_THRI) && uart->transmit_interrupt);
    if (level == uart->line)
        return;
    uart->line = level;
    struct kvm_irq_level irq = {.irq = uart->gsi, .level = level};
    (void)ioctl(uart->vm, KVM_IRQ_LINE, &irq);
}

static uint8_t take_received(struct uart *uart)
{
    if (uart->rx_count == 0)
        return 0;
    uint8_t byte = uart->rx[uart->rx_first];
    uart->rx_first = (uart->rx_first + 1) % UART_BUFFER;
    uart->rx_count--;
    return byte;
}

static uint8_t interrupt_identity(struct uart *uart)
{
    uint8_t fifo = (uart->fcr & UART_FCR_ENABLE_FIFO) ? 0xc0 : 0;
    if ((uart->ier & UART_IER_RDI) && uart->rx_count > 0)
        return fifo | UART_IIR_RDI;
    if ((uart->ier & UART_IER_THRI) && uart->transmit_interrupt) {
        uart->transmit_interrupt = false;
        return fifo | UART_IIR_THRI;
    }
    return fifo | UART_IIR_NO_INT;
}

/* In loop-back mode the four modem outputs come back as its inputs. */
static uint8_t modem_status(const struct uart *uart)
{
    if (!(uart->mcr & UART_MCR_LOOP))
        return UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS;
    return (uint8_t)(((uart->mcr & UART_MCR_DTR) ? UART_MSR_DSR : 0) |
                     ((uart->mcr & UART_MCR_RTS) ? UART_MSR_CTS : 0) |
                     ((uart->mcr & UART_MCR_OUT1) ? UART_MSR_RI : 0) |
                     ((uart->mcr & UART_MCR_OUT2) ? UART_MSR_DCD : 0));
}

static uint8_t read_register(struct uart *uart, unsigned int offset)
{
    bool divisor = uart->lcr & UART_LCR_DLAB;
    switch (offset) {
    case UART_RX:
        return divisor ? uart->dll : take_received(uart);
    case UART_IER:
        return divisor ? uart->dlm : uart->ier;
    case UART_IIR:
        return interrupt_identity(uart);
    case UART_LCR:
        return uart->lcr;
    case UART_MCR:
        return uart->mcr;
    case UART_LSR:
        return (uint8_t)(UART_LSR_TEMT | UART_LSR_THRE | (uart->rx_count > 0 ? UART_LSR_DR : 0));
    case UART_MSR:
        return modem_status(uart);
    case UART_SCR:
        return uart->scr;
    default:
        return 0xff;
    }
}

uint8_t uart_read(struct uart *uart, unsigned int offset)
{
    pthread_mutex_lock(&uart->lock);
    uint8_t value = read_register(uart, offset);
    update_line(uart);
    pthread_mutex_unlock(&uart->lock);
    return value;
}

static void transmit(struct uart *uart, uint8_t byte)
{
    uart->transmit_interrupt = true;
    if (uart->out_fd < 0 || (uart->mcr & UART_MCR_LOOP))
        return;
    if (write(uart->out_fd, &byte, 1) == 1)
        return;
    struct pollfd ready = {.fd = uart->out_fd, .events = POLLOUT};
    if (poll(&ready, 1, OUTPUT_PATIENCE_MS) == 1)
        (void)!write(uart->out_fd, &byte, 1);
}

static void write_register(struct uart *uart, unsigned int offset, uint8_t value)
{
    bool divisor = uart->lcr & UART_LCR_DLAB;
    switch (offset) {
    case UART_TX:
        if (divisor)
            uart->dll = value;
        else
            transmit(uart, value);
        break;
    case UART_IER:
        if (divisor) {
            uart->dlm = value;
        } else {
            /* The transmitter is always empty, so enabling its interrupt raises it. */
            if ((value & UART_IER_THRI) && !(uart->ier & UART_IER_THRI))
                uart->transmit_interrupt = true;
            uart->ier = value & 0x0f;
        }
        break;
    case UART_FCR:
        uart->fcr = value;
        if (value & UART_FCR_CLEAR_RCVR)
            uart->rx_count = 0;
        break;
    case UART_LCR:
        uart->lcr = value;
        break;
    case UART_MCR:
        uart->mcr = value;
        break;
    case UART_SCR:
        uart->scr = value;
        break;
    default:
        break;
    }
}

void uart_write(struct uart *uart, unsigned int offset, uint8_t value)
{
    pthread_mutex_lock(&uart->lock);
    write_register(uart, offset, value);
    update_line(uart);
    pthread_mutex_unlock(&uart->lock);
}

size_t uart_room(struct uart *uart)
{
    pthread_mutex_lock(&uart->lock);
    size_t room = UART_BUFFER - uart->rx_count;
    pthread_mutex_unlock(&uart->lock);
    return room;
}

void uart_receive(struct uart *uart, const uint8_t *data, size_t size)
{
    pthread_mutex_lock(&uart->lock);
    for (size_t i = 0; i < size && uart->rx_count < UART_BUFFER; i++) {
        uart->rx[(uart->rx_first + uart->rx_count) % UART_BUFFER] = data[i];
        uart->rx_count++;
    }
    update_line(uart);
    pthread_mutex_unlock(&uart->lock);
}
