/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef LENT_H
#define LENT_H

struct miscdevice;

struct miscdevice *lent_get(void);

#endif
