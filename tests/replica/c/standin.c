/* Stands for a library that is too large to be here: it has the name, the needs and the weight, and does nothing. */
const char standin[] = NAME;
