// SPDX-License-Identifier: GPL-2.0-only
/* Registers a misc device, /dev/no_exit_misc, and has no exit to take it away. */
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

static const struct file_operations no_exit_misc_fops = {
	.owner = THIS_MODULE,
};

static struct miscdevice no_exit_misc_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "no_exit_misc",
	.fops = &no_exit_misc_fops,
};

static int __init no_exit_misc_init(void)
{
	return misc_register(&no_exit_misc_device);
}
module_init(no_exit_misc_init);

#ifdef FIXED
static void __exit no_exit_misc_exit(void)
{
	misc_deregister(&no_exit_misc_device);
}
module_exit(no_exit_misc_exit);
#endif

MODULE_DESCRIPTION("Fault: a misc device registered, and no exit function");
MODULE_LICENSE("GPL");
