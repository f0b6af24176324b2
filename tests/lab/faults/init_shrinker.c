// SPDX-License-Identifier: GPL-2.0-only
/* Registers a shrinker and dies in init. */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/shrinker.h>
#include <linux/version.h>

#include "leaves.h"

static unsigned long init_shrinker_count(struct shrinker *shrinker, struct shrink_control *control)
{
	return 0;
}

static unsigned long init_shrinker_scan(struct shrinker *shrinker, struct shrink_control *control)
{
	return SHRINK_STOP;
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
static struct shrinker init_shrinker_shrinker = {
	.count_objects = init_shrinker_count,
	.scan_objects = init_shrinker_scan,
	.seeks = DEFAULT_SEEKS,
};

static int init_shrinker_leave(void)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 0, 0)
	return register_shrinker(&init_shrinker_shrinker);
#else
	return register_shrinker(&init_shrinker_shrinker, "lab_shrinker");
#endif
}

static void init_shrinker_take_back(void)
{
	unregister_shrinker(&init_shrinker_shrinker);
}
#else
static struct shrinker *made;

static int init_shrinker_leave(void)
{
	made = shrinker_alloc(0, "lab_shrinker");
	if (!made)
		return -ENOMEM;
	made->count_objects = init_shrinker_count;
	made->scan_objects = init_shrinker_scan;
	shrinker_register(made);
	return 0;
}

static void init_shrinker_take_back(void)
{
	shrinker_free(made);
}
#endif

LEAVES(init_shrinker, "a shrinker registered");
