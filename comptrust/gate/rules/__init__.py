"""The rules a policy can name: one file each, file name = rule name, class = CamelCase of it."""
