"""`asya run`: actors of a project on this machine, from the values files of the chart.

Called by `asya_cli.commands.run`. Starts sidecar and runtime as the processes they are in the cluster; imports neither.
"""
