################################################################################
#
# bao-virtio-dm
#
################################################################################

# The project that this external tree is part of.
BAO_VIRTIO_DM_VERSION = local
BAO_VIRTIO_DM_SITE = $(BR2_EXTERNAL_BAO_VIRTIO_DM_PATH)/../..
BAO_VIRTIO_DM_SITE_METHOD = local
BAO_VIRTIO_DM_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = --exclude /build
BAO_VIRTIO_DM_LICENSE = Apache-2.0
BAO_VIRTIO_DM_LICENSE_FILES = LICENSE
BAO_VIRTIO_DM_DEPENDENCIES = host-pkgconf libcap-ng libyaml
BAO_VIRTIO_DM_SUPPORTS_IN_SOURCE_BUILD = NO
BAO_VIRTIO_DM_CONF_OPTS = -DBVDM_TESTS=OFF

# What "bao-dmctl audit" compares, and what confines the workers.
define BAO_VIRTIO_DM_LINUX_CONFIG_FIXUPS
	$(call KCONFIG_ENABLE_OPT,CONFIG_SECCOMP)
	$(call KCONFIG_ENABLE_OPT,CONFIG_SECCOMP_FILTER)
	$(call KCONFIG_ENABLE_OPT,CONFIG_NAMESPACES)
	$(call KCONFIG_ENABLE_OPT,CONFIG_USER_NS)
endef

$(eval $(cmake-package))
