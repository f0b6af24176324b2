/* SPDX-License-Identifier: GPL-2.0-only */
/* What cdev_core exports to cdev_driver. */
#ifndef CDEV_CORE_H
#define CDEV_CORE_H

#include <linux/cdev.h>

struct cdev_core_device {
	struct cdev cdev;
	dev_t number;
	const char *(*text)(void);
};

int cdev_core_add(struct cdev_core_device *device, struct module *owner, const char *name);
void cdev_core_remove(struct cdev_core_device *device);

#endif
