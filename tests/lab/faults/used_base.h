/* SPDX-License-Identifier: GPL-2.0-only */
/* What used_base exports to used_by. */
#ifndef USED_BASE_H
#define USED_BASE_H

int used_base_answer(void);

#endif
