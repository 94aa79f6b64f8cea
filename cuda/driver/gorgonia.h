// The build tag gorgonia: the function table's entries are Go functions that call gorgonia.org/cu (gorgonia.go).
#pragma once

#include "shim.h"

// What an exported Go function cannot spell: pointers to what is not written.
typedef const char *nm_words;
typedef const void *nm_bytes;

// nm_gorgonia_linked reports whether the library at path is the one whose driver functions the program is linked with.
int nm_gorgonia_linked(const char *path);

// nm_gorgonia_bind puts the functions of gorgonia.go into a table.
void nm_gorgonia_bind(nm_calls *calls);
