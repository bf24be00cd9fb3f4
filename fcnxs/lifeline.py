"""The path of `join` and `leave` for scripts that take part in a job."""

from .launch.lifeline import join as join
from .launch.lifeline import leave as leave
