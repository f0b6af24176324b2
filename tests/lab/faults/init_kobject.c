// SPDX-License-Identifier: GPL-2.0-only
/* Holds its own directory in sysfs and dies in init: its unload would wait for ever. */
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/module.h>

#include "leaves.h"

static int init_kobject_leave(void)
{
	kobject_get(&THIS_MODULE->mkobj.kobj);
	return 0;
}

static void init_kobject_take_back(void)
{
	kobject_put(&THIS_MODULE->mkobj.kobj);
}

LEAVES(init_kobject, "a reference to its kobject");
