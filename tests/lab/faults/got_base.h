/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef GOT_BASE_H
#define GOT_BASE_H

int got_base_value(void);

#endif
