/* SPDX-License-Identifier: GPL-2.0-only */
/* A file that says `lab`. */
#ifndef TEXT_H
#define TEXT_H

#include <linux/fs.h>
#include <linux/module.h>

static ssize_t text_read(struct file *file, char __user *to, size_t size, loff_t *at)
{
	return simple_read_from_buffer(to, size, at, "lab\n", 4);
}

static const struct file_operations text_fops = {
	.owner = THIS_MODULE,
	.read = text_read,
};

#endif
