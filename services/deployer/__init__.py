"""The deployer service: nodes, deployments and commands to agents."""
