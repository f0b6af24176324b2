// SPDX-License-Identifier: GPL-2.0-only
/* A subsystem of configfs, in which somebody made a directory. */
#include <linux/configfs.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>

static void used_configfs_release(struct config_item *item)
{
	kfree(item);
}

static struct configfs_item_operations used_configfs_item_ops = {
	.release = used_configfs_release,
};

static const struct config_item_type used_configfs_item_type = {
	.ct_item_ops = &used_configfs_item_ops,
	.ct_owner = THIS_MODULE,
};

static struct config_item *used_configfs_make(struct config_group *group, const char *name)
{
	struct config_item *item = kzalloc(sizeof(*item), GFP_KERNEL);

	if (!item)
		return ERR_PTR(-ENOMEM);
	config_item_init_type_name(item, name, &used_configfs_item_type);
	return item;
}

static struct configfs_group_operations used_configfs_group_ops = {
	.make_item = used_configfs_make,
};

static const struct config_item_type used_configfs_type = {
	.ct_group_ops = &used_configfs_group_ops,
	.ct_owner = THIS_MODULE,
};

static struct configfs_subsystem used_configfs_subsystem = {
	.su_group.cg_item = {
		.ci_namebuf = "used_configfs",
		.ci_type = &used_configfs_type,
	},
};

static int __init used_configfs_init(void)
{
	config_group_init(&used_configfs_subsystem.su_group);
	mutex_init(&used_configfs_subsystem.su_mutex);
	return configfs_register_subsystem(&used_configfs_subsystem);
}

static void __exit used_configfs_exit(void)
{
	configfs_unregister_subsystem(&used_configfs_subsystem);
}

module_init(used_configfs_init);
module_exit(used_configfs_exit);
MODULE_DESCRIPTION("No fault: a directory of configfs that is in use");
MODULE_LICENSE("GPL");
