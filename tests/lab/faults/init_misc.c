// SPDX-License-Identifier: GPL-2.0-only
/* Registers a misc device, /dev/init_misc, and dies in init: the device stays. */
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "dies.h"

static const struct file_operations init_misc_fops = {
	.owner = THIS_MODULE,
};

static struct miscdevice init_misc_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "init_misc",
	.fops = &init_misc_fops,
};

static int __init init_misc_init(void)
{
	int error = misc_register(&init_misc_device);

	return error ? error : dies();
}

static void __exit init_misc_exit(void)
{
	dies_late();
	misc_deregister(&init_misc_device);
}

module_init(init_misc_init);
module_exit(init_misc_exit);
MODULE_DESCRIPTION("Fault: dies in init with a misc device registered");
MODULE_LICENSE("GPL");
