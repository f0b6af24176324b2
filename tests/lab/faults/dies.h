/* SPDX-License-Identifier: GPL-2.0-only */
/* How a module dies in init, or late, in exit, with something registered: by a write to NULL. */
#ifndef DIES_H
#define DIES_H

#include <linux/compiler.h>
#include <linux/moduleparam.h>

static bool late;
module_param(late, bool, 0);

static inline int dies_if(bool now)
{
#ifndef FIXED
	int *nowhere = NULL;

	OPTIMIZER_HIDE_VAR(nowhere);
	if (now)
		WRITE_ONCE(*nowhere, 1);
#endif
	return 0;
}

static inline int dies(void)
{
	return dies_if(!late);
}

static inline void dies_late(void)
{
	dies_if(late);
}

#endif
