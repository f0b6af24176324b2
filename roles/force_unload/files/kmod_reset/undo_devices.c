// SPDX-License-Identifier: GPL-2.0-only
/*
 * How the kernel takes back files, directories, devices and what drives them.
 */
#include <linux/cdev.h>
#include <linux/debugfs.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/kernfs.h>
#include <linux/kobject.h>
#include <linux/miscdevice.h>
#include <linux/platform_device.h>
#include <linux/proc_fs.h>
#include <linux/sysfs.h>
#include <linux/uaccess.h>

#include "kmod_reset.h"

static bool is_linked(const struct list_head *entry)
{
	struct list_head *next, *prev, *back, *forth;

	return !get_kernel_nofault(next, &entry->next) && !get_kernel_nofault(prev, &entry->prev) &&
	       next != entry && !get_kernel_nofault(back, &next->prev) &&
	       !get_kernel_nofault(forth, &prev->next) && back == entry && forth == entry;
}

static enum undo_result undo_misc(struct undoing *undoing)
{
	struct miscdevice *device = (void *)undoing->step.address;

	if (!is_linked(&device->list))
		return UNDO_NOT_THERE;
	misc_deregister(device);
	return UNDO_DONE;
}

static enum undo_result undo_cdev(struct undoing *undoing)
{
	struct cdev *device = (void *)undoing->step.address;
	unsigned int count = device->count;
	dev_t first = device->dev;

	if (!kref_read(&device->kobj.kref))
		return UNDO_NOT_THERE;
	cdev_del(device);
	unregister_chrdev_region(first, count);
	return UNDO_DONE;
}

static enum undo_result undo_device(struct undoing *undoing)
{
	device_destroy((void *)undoing->step.address, undoing->step.other);
	return UNDO_DONE;
}

static enum undo_result undo_class(struct undoing *undoing)
{
	class_destroy((void *)undoing->step.address);
	return UNDO_DONE;
}

static enum undo_result undo_proc(struct undoing *undoing)
{
	proc_remove((void *)undoing->step.address);
	return UNDO_DONE;
}

static enum undo_result undo_debugfs(struct undoing *undoing)
{
	debugfs_remove((void *)undoing->step.address);
	return UNDO_DONE;
}

static enum undo_result undo_sysfs_file(struct undoing *undoing)
{
	sysfs_remove_file_ns((void *)undoing->step.address, (void *)undoing->step.other, NULL);
	return UNDO_DONE;
}

/* A directory of attributes, by its name: all that it holds goes with it. */
static enum undo_result undo_sysfs_group(struct undoing *undoing)
{
	struct kobject *kobject = (void *)undoing->step.address;
	struct attribute *nothing[] = { NULL };
	struct attribute_group group = {
		.name = (char *)undoing->step.other,
		.attrs = nothing,
	};
	struct kernfs_node *directory = kernfs_find_and_get_ns(kobject->sd, group.name, NULL);

	if (!directory)
		return UNDO_NOT_THERE;
	kernfs_put(directory);
	sysfs_remove_group(kobject, &group);
	return UNDO_DONE;
}

static enum undo_result undo_kobject(struct undoing *undoing)
{
	kobject_put((struct kobject *)undoing->step.address);
	return UNDO_DONE;
}

static int is_bound(struct device *device, void *unused)
{
	return 1;
}

/* Others are asked to let a device go, in code that may never have been made ready. */
static bool lets_go_silently(const struct device_driver *driver)
{
	const struct platform_driver *platform;

	if (driver->bus != &platform_bus_type)
		return false;
	platform = to_platform_driver(driver);
#ifdef HAVE_REMOVE_NEW
	if (platform->remove_new)
		return false;
#endif
	return !platform->remove;
}

static enum undo_result undo_driver(struct undoing *undoing)
{
	struct device_driver *driver = (void *)undoing->step.address;

	if (!driver->p)
		return UNDO_NOT_THERE;
	if (driver_for_each_device(driver, NULL, NULL, is_bound) && !lets_go_silently(driver))
		return UNDO_OWN_CODE;
	driver_unregister(driver);
	return UNDO_DONE;
}

static int is_there(struct device_driver *driver, void *unused)
{
	return 1;
}

static enum undo_result undo_bus(struct undoing *undoing)
{
	struct bus_type *bus = (void *)undoing->step.address;

	if (bus_for_each_dev(bus, NULL, NULL, is_bound) ||
	    bus_for_each_drv(bus, NULL, NULL, is_there))
		return UNDO_IN_USE;
	bus_unregister(bus);
	return UNDO_DONE;
}

static enum undo_result undo_platform_device(struct undoing *undoing)
{
	struct platform_device *device = (void *)undoing->step.address;
	enum undo_result result = UNDO_OWN_CODE;

	/* Whoever died with it held never gives it back. */
	if (!device_trylock(&device->dev))
		return UNDO_IN_USE;
	if (!device->dev.driver || lets_go_silently(device->dev.driver))
		result = UNDO_DONE;
	device_unlock(&device->dev);
	if (result == UNDO_DONE)
		platform_device_unregister(device);
	return result;
}
