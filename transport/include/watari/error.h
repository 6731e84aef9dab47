/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * error.h - how watari reports failure.
 *
 * Functions return int: >= 0 success, -errno failure. -EAGAIN only ever means back-pressure: nothing was
 * taken, poll and try again. Control functions also fill a struct wt_error: one sentence that says what was
 * observed, where, and what to do. The function that first knows the cause says it; later calls do not
 * overwrite it.
 */
#ifndef WATARI_ERROR_H
#define WATARI_ERROR_H

#define WT_ERROR_TEXT_MAX 512

struct wt_error {
	int code; /* 0, or a positive errno value */
	char text[WT_ERROR_TEXT_MAX];
};

/*
 * Fills *err, unless err is NULL or already holds an error, and returns -code, so that a caller can write
 * `return wt_error_set(err, ENOENT, "...")`. code is positive.
 */
int wt_error_set(struct wt_error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#ifdef WATARI_ANALYSIS
/* For analyzers that look at one file at a time: what it answers is negative. */
#define wt_error_set(err, code, ...) \
	((wt_error_set)(err, code, __VA_ARGS__), __builtin_constant_p(code) ? -(code) : wt_error_negative())
int wt_error_any(void);
static inline int wt_error_negative(void) /* of errno: clang does not see that -x < 0 if x > 0 */
{
	int answer = wt_error_any();

	if (answer >= 0)
		__builtin_unreachable();
	return answer;
}
#endif

/* Empties *err for another use. */
void wt_error_clear(struct wt_error *err);

/* The text, or a plain "unknown error" where nobody filled it: never an empty string. */
const char *wt_error_text(const struct wt_error *err);

#endif
