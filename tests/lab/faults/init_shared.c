// SPDX-License-Identifier: GPL-2.0-only
/* Registers a misc device, keeps pointers to what the module shared made, and dies in init. */
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "leaves.h"
#include "shared.h"

static struct shared kept;

static const struct file_operations init_shared_fops = {
	.owner = THIS_MODULE,
};

static struct miscdevice init_shared_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "init_shared",
	.fops = &init_shared_fops,
};

static int init_shared_leave(void)
{
	WRITE_ONCE(kept.class, shared_get()->class);
	WRITE_ONCE(kept.in_debugfs, shared_get()->in_debugfs);
	WRITE_ONCE(kept.in_sysfs, shared_get()->in_sysfs);
	WRITE_ONCE(kept.in_proc, shared_get()->in_proc);
	return misc_register(&init_shared_device);
}

static void init_shared_take_back(void)
{
	misc_deregister(&init_shared_device);
}

LEAVES(init_shared, "pointers to what another module made");
