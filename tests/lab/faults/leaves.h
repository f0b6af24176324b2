/* SPDX-License-Identifier: GPL-2.0-only */
/* A module that dies in init after NAME_leave(), or late, in exit before NAME_take_back(). */
#ifndef LEAVES_H
#define LEAVES_H

#include <linux/init.h>
#include <linux/module.h>

#include "dies.h"

#define LEAVES(name, what)						\
static int __init name##_init(void)					\
{									\
	int error = name##_leave();					\
									\
	return error ? error : dies();					\
}									\
									\
static void __exit name##_exit(void)					\
{									\
	dies_late();							\
	name##_take_back();						\
}									\
									\
module_init(name##_init);						\
module_exit(name##_exit);						\
MODULE_DESCRIPTION("Fault: dies in init with " what);			\
MODULE_LICENSE("GPL")

#endif
