"""Makes operations/template.yaml: what an operator looks at in CloudWatch, and what calls him."""
