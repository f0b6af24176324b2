/* SPDX-License-Identifier: GPL-2.0-only */
/* How a module dies in init after it registered something: by a write through NULL. */
#ifndef DIES_H
#define DIES_H

#include <linux/compiler.h>

static inline int dies(void)
{
#ifndef FIXED
	int *nowhere = NULL;

	OPTIMIZER_HIDE_VAR(nowhere);
	WRITE_ONCE(*nowhere, 1);
#endif
	return 0;
}

#endif
