"""The programs: Ray stages, jobs, the command line. Only this folder imports ray."""
