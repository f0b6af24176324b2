// SPDX-License-Identifier: GPL-2.0-only
#include <linux/errno.h>
#include <linux/kobject.h>
#include <linux/sysfs.h>

#include "steps.h"

static struct kobject *directory;

static ssize_t value_show(struct kobject *kobj, struct kobj_attribute *attribute, char *to)
{
	return sysfs_emit(to, "lab\n");
}

static struct kobj_attribute value = __ATTR_RO(value);
static struct kobj_attribute in_group = __ATTR(member, 0444, value_show, NULL);

static struct attribute *members[] = {
	&in_group.attr,
	NULL,
};

static const struct attribute_group group = {
	.name = "group",
	.attrs = members,
};

static int make_directory(void)
{
	directory = kobject_create_and_add(NAME, kernel_kobj);
	return directory ? 0 : -ENOMEM;
}

static void drop_directory(void)
{
	kobject_put(directory);
}

static int make_value(void)
{
	return sysfs_create_file(directory, &value.attr);
}

static void drop_value(void)
{
	sysfs_remove_file(directory, &value.attr);
}

static int make_group(void)
{
	return sysfs_create_group(directory, &group);
}

static void drop_group(void)
{
	sysfs_remove_group(directory, &group);
}

static const struct step steps[] = {
	{ make_directory, drop_directory },
	{ make_value, drop_value },
	{ make_group, drop_group },
};

SAMPLE("a directory with attributes in sysfs");
