// SPDX-License-Identifier: GPL-2.0-only
/* Makes a class with a device, and directories, that init_shared keeps pointers to when it dies. */
#include <linux/debugfs.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/version.h>

#include "shared.h"

static dev_t number;
static struct shared made;

const struct shared *shared_get(void)
{
	return &made;
}
EXPORT_SYMBOL_GPL(shared_get);

static struct class *shared_make(void)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
	return class_create(THIS_MODULE, "shared");
#else
	return class_create("shared");
#endif
}

static int __init shared_init(void)
{
	struct device *device;
	int error = alloc_chrdev_region(&number, 0, 1, "shared");

	if (error)
		return error;
	made.class = shared_make();
	error = PTR_ERR_OR_ZERO(made.class);
	if (error)
		goto region;
	device = device_create(made.class, NULL, number, NULL, "shared");
	error = PTR_ERR_OR_ZERO(device);
	if (error)
		goto class;
	error = -ENOMEM;
	made.in_proc = proc_mkdir("shared", NULL);
	if (!made.in_proc)
		goto device;
	made.in_sysfs = kobject_create_and_add("shared", kernel_kobj);
	if (!made.in_sysfs)
		goto proc;
	made.in_debugfs = debugfs_create_dir("shared", NULL);
	return 0;
proc:
	proc_remove(made.in_proc);
device:
	device_destroy(made.class, number);
class:
	class_destroy(made.class);
region:
	unregister_chrdev_region(number, 1);
	return error;
}

static void __exit shared_exit(void)
{
	debugfs_remove(made.in_debugfs);
	kobject_put(made.in_sysfs);
	proc_remove(made.in_proc);
	device_destroy(made.class, number);
	class_destroy(made.class);
	unregister_chrdev_region(number, 1);
}

module_init(shared_init);
module_exit(shared_exit);
MODULE_DESCRIPTION("Fault: what it made is known to a module that died");
MODULE_LICENSE("GPL");
