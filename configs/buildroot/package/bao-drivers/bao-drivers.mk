################################################################################
#
# bao-drivers
#
################################################################################

BAO_DRIVERS_VERSION = $(call qstrip,$(BR2_PACKAGE_BAO_DRIVERS_VERSION))
BAO_DRIVERS_SITE = https://github.com/bao-project/bao-linux-drivers.git
BAO_DRIVERS_SITE_METHOD = git
BAO_DRIVERS_LICENSE = GPL-2.0
BAO_DRIVERS_MODULE_SUBDIRS = iodispatcher

# Its own Makefile gives the objects under another name than that of the module.
BAO_DRIVERS_MODULE_MAKE_OPTS = \
	bao-iodispatcher-y="dm.o driver.o intc.o io_client.o io_dispatcher.o ioctls.o ioeventfd.o irqfd.o"

$(eval $(kernel-module))
$(eval $(generic-package))
