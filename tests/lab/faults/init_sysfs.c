// SPDX-License-Identifier: GPL-2.0-only
/* Makes /sys/kernel/init_sysfs/value and dies in init. */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/sysfs.h>

#include "leaves.h"

static struct kobject *directory;

static ssize_t value_show(struct kobject *kobj, struct kobj_attribute *attribute, char *to)
{
	return sysfs_emit(to, "lab\n");
}

static struct kobj_attribute init_sysfs_value = __ATTR_RO(value);

static int init_sysfs_leave(void)
{
	directory = kobject_create_and_add("init_sysfs", kernel_kobj);
	return directory ? sysfs_create_file(directory, &init_sysfs_value.attr) : -ENOMEM;
}

static void init_sysfs_take_back(void)
{
	kobject_put(directory);
}

LEAVES(init_sysfs, "an attribute in sysfs made");
