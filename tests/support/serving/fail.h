// End with a message: every error of this program ends it.

#ifndef FAIL_H_
#define FAIL_H_

// Prints the message, as printf would, and exits with 1.
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif  // FAIL_H_
