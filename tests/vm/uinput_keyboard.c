/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uinput-keyboard NAME: makes a keyboard with Linux's uinput. The keyboard has all letters, a wheel
 * and two lights. The program prints "device /dev/input/eventN". A line "key CODE VALUE" or "wheel
 * VALUE" on its standard input makes such an event. A line "light CODE VALUE" on its standard
 * output says which light somebody has switched. The keyboard exists until standard input ends.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/uinput.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int fail(const char *what)
{
    fprintf(stderr, "uinput-keyboard: %s: %s\n", what, strerror(errno));
    return 1;
}

static int make(int fd, const char *name)
{
    struct uinput_setup setup = {
        .id = {.bustype = BUS_VIRTUAL, .vendor = 0x1234, .product = 0x5678, .version = 1}};
    snprintf(setup.name, sizeof(setup.name), "%s", name);
    int result = ioctl(fd, UI_SET_EVBIT, EV_KEY) | ioctl(fd, UI_SET_EVBIT, EV_REL) |
                 ioctl(fd, UI_SET_EVBIT, EV_LED) | ioctl(fd, UI_SET_RELBIT, REL_WHEEL) |
                 ioctl(fd, UI_SET_LEDBIT, LED_NUML) | ioctl(fd, UI_SET_LEDBIT, LED_CAPSL);
    for (int key = KEY_ESC; result == 0 && key <= KEY_SPACE; key++)
        result = ioctl(fd, UI_SET_KEYBIT, key);
    if (result == 0)
        result = ioctl(fd, UI_DEV_SETUP, &setup);
    return result == 0 ? ioctl(fd, UI_DEV_CREATE) : result;
}

/* The event device's folder is below the folder of the input device. */
static int print_device(int fd)
{
    char name[64] = "", path[128];
    if (ioctl(fd, UI_GET_SYSNAME(sizeof(name)), name) < 0)
        return fail("UI_GET_SYSNAME");
    snprintf(path, sizeof(path), "/sys/devices/virtual/input/%s", name);
    DIR *folder = opendir(path);
    if (!folder)
        return fail(path);
    const struct dirent *entry;
    while ((entry = readdir(folder)) && strncmp(entry->d_name, "event", 5) != 0)
        ;
    if (entry)
        printf("device /dev/input/%s\n", entry->d_name);
    closedir(folder);
    if (!entry)
        fprintf(stderr, "uinput-keyboard: no event device: is the module evdev there?\n");
    return entry ? 0 : 1;
}

static int emit(int fd, uint16_t type, unsigned int code, int value)
{
    const struct input_event events[] = {
        {.type = type, .code = (uint16_t)code, .value = value},
        {.type = EV_SYN, .code = SYN_REPORT},
    };
    return write(fd, events, sizeof(events)) == sizeof(events) ? 0 : fail("write");
}

static int take_line(int fd, const char *line)
{
    unsigned int code;
    int value;
    if (sscanf(line, "key %u %d", &code, &value) == 2)
        return emit(fd, EV_KEY, code, value);
    if (sscanf(line, "wheel %d", &value) == 1)
        return emit(fd, EV_REL, REL_WHEEL, value);
    fprintf(stderr, "uinput-keyboard: expected \"key CODE VALUE\" or \"wheel VALUE\", not %s",
            line);
    return 1;
}

static void take_light(int fd)
{
    struct input_event event;
    if (read(fd, &event, sizeof(event)) == sizeof(event) && event.type == EV_LED)
        printf("light %u %d\n", event.code, event.value);
}

static int run(int fd)
{
    char line[128];
    struct pollfd both[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    for (;;) {
        if (poll(both, 2, -1) < 0)
            return fail("poll");
        if ((both[1].revents & POLLIN) != 0)
            take_light(fd);
        if (both[0].revents == 0)
            continue;
        if (!fgets(line, sizeof(line), stdin))
            return 0;
        if (take_line(fd, line) != 0)
            return 1;
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: uinput-keyboard NAME\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    setvbuf(stdin, NULL, _IONBF, 0); /* poll does not know about lines that stdio has read */
    int fd = open("/dev/uinput", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return fail("/dev/uinput");
    if (make(fd, argv[1]) < 0)
        return fail("can't make a device");
    return print_device(fd) != 0 ? 1 : run(fd);
}
