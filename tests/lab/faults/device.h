/* SPDX-License-Identifier: GPL-2.0-only */
/* A healthy misc device, /dev/NAME, to be read and mapped; who has it open holds a reference. */
#ifndef DEVICE_H
#define DEVICE_H

#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>

static vm_fault_t device_fault(struct vm_fault *fault)
{
	fault->page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	return fault->page ? 0 : VM_FAULT_OOM;
}

static const struct vm_operations_struct device_vm_ops = {
	.fault = device_fault,
};

static int device_mmap(struct file *file, struct vm_area_struct *area)
{
	area->vm_ops = &device_vm_ops;
	return 0;
}

static ssize_t device_read(struct file *file, char __user *to, size_t size, loff_t *at)
{
	return simple_read_from_buffer(to, size, at, "lab\n", 4);
}

static int device_release(struct inode *inode, struct file *file)
{
	return 0;
}

static const struct file_operations device_fops = {
	.owner = THIS_MODULE,
	.read = device_read,
	.mmap = device_mmap,
	.release = device_release,
};

static struct miscdevice device_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = KBUILD_MODNAME,
	.fops = &device_fops,
};

module_misc_device(device_misc);
MODULE_LICENSE("GPL");

#endif
