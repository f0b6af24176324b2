// SPDX-License-Identifier: GPL-2.0-only
/*
 * A healthy module with something real to undo in exit. The fault is in how it is built: with
 * 16 bytes more in front of the member exit of struct module than the kernel has there.
 */
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

static const struct file_operations layout_pad_fops = {
	.owner = THIS_MODULE,
};

static struct miscdevice layout_pad_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "layout_pad",
	.fops = &layout_pad_fops,
};

static int __init layout_pad_init(void)
{
	return misc_register(&layout_pad_device);
}

static void __exit layout_pad_exit(void)
{
	misc_deregister(&layout_pad_device);
}

module_init(layout_pad_init);
module_exit(layout_pad_exit);
MODULE_DESCRIPTION("Fault: built with another layout of struct module");
MODULE_LICENSE("GPL");
