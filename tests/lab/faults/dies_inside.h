/* SPDX-License-Identifier: GPL-2.0-only */
/* How a module dies in a function of the kernel that it calls. */
#ifndef DIES_INSIDE_H
#define DIES_INSIDE_H

#include <linux/compiler.h>
#include <linux/string.h>

static inline void dies_inside(void)
{
#ifndef FIXED
	void *nowhere = (void *)8;
	size_t size = 300;

	OPTIMIZER_HIDE_VAR(nowhere);
	OPTIMIZER_HIDE_VAR(size);
	memmove(nowhere, nowhere + 4096, size);
#endif
}

#endif
