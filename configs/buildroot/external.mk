include $(sort $(wildcard $(BR2_EXTERNAL_BAO_VIRTIO_DM_PATH)/package/*/*.mk))
