def broken(:
    requests.get("https://api.internal/", verify=False)
