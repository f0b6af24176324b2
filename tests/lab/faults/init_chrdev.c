// SPDX-License-Identifier: GPL-2.0-only
/* Registers a character device's major and dies in init. */
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/module.h>

#include "dies.h"

static const struct file_operations init_chrdev_fops = {
	.owner = THIS_MODULE,
};

static int major;

static int __init init_chrdev_init(void)
{
	major = register_chrdev(0, "init_chrdev", &init_chrdev_fops);
	return major < 0 ? major : dies();
}

static void __exit init_chrdev_exit(void)
{
	dies_late();
	unregister_chrdev(major, "init_chrdev");
}

module_init(init_chrdev_init);
module_exit(init_chrdev_exit);
MODULE_DESCRIPTION("Fault: dies in init with a character device registered");
MODULE_LICENSE("GPL");
